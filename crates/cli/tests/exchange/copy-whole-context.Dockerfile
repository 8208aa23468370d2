FROM scratch AS busybox
COPY rootfs /
FROM busybox
COPY . /context/
RUN find /context | sort > /list
