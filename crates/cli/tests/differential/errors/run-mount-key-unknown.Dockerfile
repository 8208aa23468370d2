FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN --mount=type=cache,targett=/c true
