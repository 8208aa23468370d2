FROM scratch AS busybox
COPY rootfs /
FROM busybox
COPY --link config.yaml /a/b/
COPY --link --chown=3:4 src /linked
COPY --link --chmod=700 links /links/
COPY --link=false config.yaml /plain
RUN rm /a/b/config.yaml
COPY --link config.yaml /a/c
