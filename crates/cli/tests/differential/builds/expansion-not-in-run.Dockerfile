FROM scratch AS busybox
COPY rootfs /
FROM busybox
ENV NAME=from-env
RUN NAME=from-shell; echo "$NAME ${NAME}" > /name
RUN ["/bin/sh", "-c", "echo $NAME > /exec"]
