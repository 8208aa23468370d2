FROM scratch AS busybox
COPY rootfs /
FROM busybox
USER builder
COPY config.yaml /a/b
WORKDIR /made/by/user
COPY config.yaml .
