FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN --mount=type=secret,id=token,target=/run/token cat /run/token | wc -c > /length
RUN --mount=type=secret,id=token,env=TOKEN test -n "$TOKEN" && echo yes > /has
RUN --mount=type=secret,id=absent test ! -e /run/secrets/absent && echo no > /lacks
