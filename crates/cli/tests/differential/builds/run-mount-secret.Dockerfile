FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN --mount=type=secret,id=token --mount=type=secret,id=token,env=TOKEN \
    --mount=type=secret,id=token,target=/etc/token,mode=0440,uid=1000,gid=29 \
    --mount=type=secret,id=absent \
    wc -c < /run/secrets/token > /size; echo ${#TOKEN} >> /size; stat -c '%a %u %g' /etc/token > /stat; \
    test ! -e /run/secrets/absent && touch /none
