FROM scratch AS busybox
COPY rootfs /
FROM busybox AS builder
WORKDIR /usr/share/elasticsearch
ADD archives/tree.tgz .
RUN mkdir -p config config/jvm.options.d data logs plugins && chmod 0775 config config/jvm.options.d data logs plugins
COPY config.yaml config/elasticsearch.yml
RUN chmod 0660 config/elasticsearch.yml && find . -type d -exec chmod 0555 {} + && chmod -R ug+w data
FROM busybox
RUN addgroup -g 1001 elasticsearch && adduser -u 1001 -G elasticsearch -h /usr/share/elasticsearch -D elasticsearch
WORKDIR /usr/share/elasticsearch
COPY --from=builder --chown=0:0 /usr/share/elasticsearch /usr/share/elasticsearch
ENV PATH=/usr/share/elasticsearch/bin:$PATH
COPY --chmod=0555 app/entrypoint.sh /usr/local/bin/docker-entrypoint.sh
EXPOSE 9200 9300
LABEL org.label-schema.build-date="2001-01-01" \
  org.label-schema.license="none" \
  org.opencontainers.image.title="Elasticsearch"
USER elasticsearch:root
ENTRYPOINT ["/bin/tini", "--", "/usr/local/bin/docker-entrypoint.sh"]
CMD ["eswrapper"]
