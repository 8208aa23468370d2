FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN true
RUN touch /tmp/x && rm /tmp/x
