FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN mkdir -p /target /real /owned /a/tree/directory /src/main.h; \
    ln -s /real /alias; ln -s real /relative; ln -s /etc/shadow-file /dangling; \
    chown 1:2 /owned; chmod 700 /owned; \
    echo old > /config.yaml; echo old > /src/main.c; chown 3:3 /src/main.c; \
    echo old > /a/tree/file; ln -s /etc /a/tree/link; touch /a/tree/other
COPY config.yaml /target
COPY config.yaml /target/
COPY src /target/config.d
COPY config.yaml /alias/
COPY src /relative
COPY config.yaml /dangling
COPY --chown=7:8 --chmod=750 src /owned
COPY --chown=7:8 modes/directory /owned
COPY config.yaml /
COPY src /src
ADD archives/tree.tar /a/
