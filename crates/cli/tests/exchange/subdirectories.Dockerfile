FROM scratch AS busybox
COPY rootfs /
FROM busybox
COPY src/lib /lib2
COPY src /
COPY src/lib/ /lib3/
