FROM scratch AS busybox
COPY rootfs /
FROM busybox
COPY --chown=root:nobody-knows config.yaml /a
