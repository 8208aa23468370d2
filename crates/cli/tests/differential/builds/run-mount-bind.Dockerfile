FROM scratch AS busybox
COPY rootfs /
FROM busybox AS made
RUN mkdir /made && echo made > /made/f
FROM busybox
RUN --mount=from=made,source=/made,target=/m cp /m/f /copied
RUN --mount=type=bind,target=/ctx,rw touch /ctx/new && cat /ctx/config.yaml > /config
RUN --mount=target=/ctx if touch /ctx/new; then exit 1; fi 2> /dev/null
