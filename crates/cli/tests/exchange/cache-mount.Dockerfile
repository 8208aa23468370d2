FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN --mount=type=cache,target=/var/cache/x date > /var/cache/x/stamp; echo done > /done
RUN --mount=type=cache,id=shared,target=/c,sharing=locked,uid=5,mode=0700 echo again > /again
