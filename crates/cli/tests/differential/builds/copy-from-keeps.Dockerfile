FROM scratch AS busybox
COPY rootfs /
FROM busybox AS made
RUN mkdir -p /m/d && echo x > /m/x && chown 5:6 /m/x && chmod 4751 /m/x && ln /m/x /m/y && ln -s x /m/l && touch /m/a /m/b
RUN mkfifo /m/pipe && mknod /m/null c 1 3 && chown 7:8 /m/d && chmod 1770 /m/d && rm /m/a && mv /m/b /m/c && touch -d '2002-02-02 02:02:02' /m/x /m/d
FROM scratch
COPY --from=made /m /m
COPY --from=made /m/x /m/l /single/
