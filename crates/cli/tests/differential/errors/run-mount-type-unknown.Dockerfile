FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN --mount=type=cach,target=/c true
