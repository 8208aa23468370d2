FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN --mout=type=cache,target=/c true
