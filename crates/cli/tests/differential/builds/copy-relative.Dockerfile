FROM scratch AS busybox
COPY rootfs /
FROM busybox
WORKDIR /work
COPY config.yaml .
COPY config.yaml ./sub/
COPY config.yaml ../up
COPY src ./
COPY config.yaml sub/deeper/name
