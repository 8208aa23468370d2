FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN --mount=type=bind,source=src,target=/src cat /src/main.c > /copy
RUN --mount=target=/all,rw touch /all/new && ls /all > /list
