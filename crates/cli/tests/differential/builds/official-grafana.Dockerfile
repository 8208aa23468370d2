FROM scratch AS busybox
COPY rootfs /
ARG BASE=busybox
FROM ${BASE:-busybox} AS go-src
COPY src /src
FROM busybox
LABEL maintainer="Someone <hello@example.com>"
LABEL org.opencontainers.image.source="https://example.com/x"
ARG GF_UID="472"
ARG GF_GID="0"
ENV PATH="/usr/share/grafana/bin:$PATH" \
  GF_PATHS_CONFIG="/etc/grafana/grafana.ini" \
  GF_PATHS_DATA="/var/lib/grafana" \
  GF_PATHS_HOME="/usr/share/grafana"
WORKDIR $GF_PATHS_HOME
RUN if ! grep -q ":$GF_GID:" /etc/group; then \
    addgroup -S -g $GF_GID grafana; \
  fi && \
  adduser -S -u $GF_UID -G root grafana && \
  mkdir -p "$GF_PATHS_DATA" /etc/grafana && \
  chown -R "grafana:root" "$GF_PATHS_DATA" "$GF_PATHS_HOME" && \
  chmod -R 777 "$GF_PATHS_DATA" "$GF_PATHS_HOME"
COPY --from=go-src /src/main.c ./bin/
EXPOSE 3000
COPY app/entrypoint.sh /run.sh
USER "$GF_UID"
ENTRYPOINT [ "/run.sh" ]
