FROM scratch AS busybox
COPY rootfs /
FROM busybox AS build
ENV PATH /usr/local/go/bin:$PATH
ENV GOLANG_VERSION 1.99.1
ARG TARGETARCH
RUN set -eux; \
	arch="$(uname -m)"; arch="${TARGETARCH:-$arch}"; \
	case "$arch" in \
		'amd64') sha256='00'; ;; \
		'arm64') sha256='11'; ;; \
		*) echo >&2 "error: unsupported architecture '$arch' (likely packaging update needed)"; exit 1 ;; \
	esac; \
	mkdir -p /target/usr/local/go/bin; \
	printf '#!/bin/sh\necho go version %s %s\n' "$GOLANG_VERSION" "$sha256" > /target/usr/local/go/bin/go; \
	chmod +x /target/usr/local/go/bin/go
FROM build
ENV GOLANG_VERSION 1.99.1
# Do not switch toolchains on their own.
ENV GOTOOLCHAIN=local
ENV GOPATH /go
ENV PATH $GOPATH/bin:/usr/local/go/bin:$PATH
# See https://example.com/why-link.
COPY --from=build --link /target/ /
RUN mkdir -p "$GOPATH/src" "$GOPATH/bin" && chmod -R 1777 "$GOPATH" && go > /version
WORKDIR $GOPATH
