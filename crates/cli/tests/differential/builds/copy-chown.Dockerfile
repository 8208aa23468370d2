FROM scratch AS busybox
COPY rootfs /
FROM busybox
COPY --chown=builder:wheel config.yaml /a
COPY --chown=builder config.yaml /b
COPY --chown=12:34 src /c
COPY --chown=56 config.yaml /d
COPY --chown=:audio config.yaml /e
COPY --chown=nobody:0 modes /f
ARG WHO=1000:10
COPY --chown=$WHO config.yaml /new/directories/g
