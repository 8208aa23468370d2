FROM scratch AS busybox
COPY rootfs /
FROM scratch AS files
COPY src /src
FROM busybox AS parent
ONBUILD ARG NAME=none
ONBUILD COPY --from=files /src /onbuild/
ONBUILD RUN --mount=from=files,target=/files echo $NAME > /onbuild/name; ls /files >> /onbuild/name
ONBUILD LABEL from=parent
FROM parent
COPY config.yaml /
# case: build-arg=NAME=given
