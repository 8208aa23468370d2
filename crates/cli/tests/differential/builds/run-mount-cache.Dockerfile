FROM scratch AS busybox
COPY rootfs /
FROM scratch AS seed
COPY src /seed/
FROM busybox
RUN --mount=type=cache,target=/c,mode=0700,uid=1000,gid=29,id=owned \
    --mount=type=cache,target=/d,from=seed,source=/seed,id=seeded \
    --mount=type=cache,target=/e,id=private,sharing=private \
    stat -c '%a %u %g' /c > /stat; ls /d > /list; touch /e/x; ls /e >> /list
RUN --mount=type=cache,target=/c,id=private,ro ls /c > /list; if touch /c/y; then exit 1; fi 2> /dev/null
