FROM scratch AS busybox
COPY rootfs /
FROM busybox
SHELL ["/bin/ash", "-ec"]
RUN true; touch /reached
CMD run it
ENTRYPOINT start it
HEALTHCHECK CMD check it
