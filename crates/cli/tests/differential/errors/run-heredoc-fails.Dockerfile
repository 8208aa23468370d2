FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN <<EOT
echo one
exit 9
EOT
