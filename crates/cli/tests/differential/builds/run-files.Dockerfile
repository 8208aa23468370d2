FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN mkdir -p /a/b/c && echo x > /a/b/c/x && ln -s ../x /a/b/l && ln /a/b/c/x /a/b/c/hard && chmod 4711 /a/b/c/x && \
    chown 1000:29 /a/b && chmod 2770 /a/b && mkfifo /a/pipe && mknod /a/null c 1 3 && mknod /a/block b 7 9
RUN rm -r /a/b/c && mkdir /a/b/c && echo y > /a/b/c/y && \
    mv /a/pipe /a/renamed && truncate -s 4096 /a/sparse && touch '/a/with space' /a/ümlaut
