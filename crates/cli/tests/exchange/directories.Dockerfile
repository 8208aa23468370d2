FROM scratch AS busybox
COPY rootfs /
FROM busybox
WORKDIR /one
WORKDIR two
WORKDIR ../three
RUN pwd > here
WORKDIR /one/$HOME
