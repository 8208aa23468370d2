FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN echo 'app:x:100:101::/home/app:/bin/sh' >> /etc/passwd && mkdir -p /home/app && chown 100:101 /home/app
USER app
WORKDIR /home/app
RUN id -u > who
USER 7:8
RUN id -g > /tmp/group
