FROM scratch AS busybox
COPY rootfs /
FROM busybox
COPY --chmod=640 --chown=12:34 config.yaml /etc/app/
COPY --chown=0:0 src /src
ADD --chmod=755 package.json /opt/
