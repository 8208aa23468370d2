FROM scratch AS busybox
COPY rootfs /
FROM busybox
ADD files.tar.gz /unpacked/
RUN ls /unpacked > /list
