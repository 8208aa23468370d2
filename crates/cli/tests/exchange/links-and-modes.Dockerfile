FROM scratch AS busybox
COPY rootfs /
FROM busybox
COPY links /links/
RUN ls -lR /links | awk '{print $1, $NF}' > /list
