FROM scratch AS busybox
COPY rootfs /
FROM busybox
VOLUME /data /with/deeper
VOLUME ["/json one", "/json two"]
ARG V=/variable
VOLUME $V
RUN mkdir -p /data && touch /data/kept && ls / > /list
