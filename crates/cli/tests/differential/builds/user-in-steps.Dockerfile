FROM scratch AS busybox
COPY rootfs /
FROM busybox
USER builder:wheel
WORKDIR /tmp/own
RUN pwd > /tmp/where; id > /tmp/who; umask > /tmp/mask
USER 4321
RUN id -u > /tmp/number; id -g >> /tmp/number
USER root:audio
RUN id -g > group
