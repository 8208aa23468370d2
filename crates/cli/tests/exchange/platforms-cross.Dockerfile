FROM --platform=$BUILDPLATFORM scratch AS busybox
COPY rootfs /
FROM --platform=$BUILDPLATFORM busybox AS build
ARG TARGETARCH
COPY src /src
RUN echo "$TARGETARCH" > /program && chmod 755 /program
FROM scratch
ARG TARGETPLATFORM
ENV PLATFORM=$TARGETPLATFORM
COPY --from=build /program /usr/bin/
COPY config.yaml /etc/
