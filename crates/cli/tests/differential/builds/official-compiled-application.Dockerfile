FROM scratch AS busybox
COPY rootfs /
FROM --platform=$BUILDPLATFORM busybox AS build
WORKDIR /source
RUN --mount=type=bind,source=package.json,target=package.json --mount=type=cache,target=/go/pkg/mod cp package.json /tmp/
COPY src .
ARG TARGETOS TARGETARCH VERSION=dev
RUN --mount=type=cache,target=/root/.cache <<EOT
set -eu
mkdir -p /out /root/.cache
echo "$TARGETOS $TARGETARCH $VERSION" | cat - main.c > /out/application
chmod 755 /out/application
EOT
FROM build AS test
RUN exit 1
FROM scratch AS binary
COPY --from=build /out/application /
FROM busybox
RUN adduser -D -u 10001 app
USER app
COPY --from=binary /application /bin/
HEALTHCHECK --interval=10s --timeout=2s CMD ["/bin/application", "health"]
ENTRYPOINT ["/bin/application"]
# case: build-arg=VERSION=v1
