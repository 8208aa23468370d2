FROM scratch AS busybox
COPY rootfs /
FROM busybox
COPY --link src /linked/
COPY --link --chmod=600 package.json /linked/p.json
RUN ls -l /linked > /list
