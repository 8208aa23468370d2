FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN
