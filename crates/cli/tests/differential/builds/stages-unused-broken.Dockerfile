FROM scratch AS busybox
COPY rootfs /
FROM busybox AS broken
RUN exit 1
FROM scratch
COPY config.yaml /
