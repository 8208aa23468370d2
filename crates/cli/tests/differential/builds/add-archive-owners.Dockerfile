FROM scratch AS busybox
COPY rootfs /
FROM busybox
ADD --chown=builder:wheel archives/tree.tar /a/
ADD --chmod=705 archives/tree.tgz /b/
ADD --chown=7:7 --chmod=600 config.yaml /c/
