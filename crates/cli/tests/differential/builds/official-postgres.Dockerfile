FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN set -eux; \
	addgroup -g 999 -S postgres; \
	adduser -u 998 -S -D -G postgres -h /var/lib/postgresql -s /bin/sh postgres; \
	mkdir -p /var/lib/postgresql; \
	chown -R postgres:postgres /var/lib/postgresql
# a tool to step down from root
ENV GOSU_VERSION 1.17
COPY --chmod=755 app/bin/tool /usr/local/bin/gosu
RUN gosu nobody true
ENV LANG en_US.utf8
RUN mkdir /docker-entrypoint-initdb.d
ENV PG_MAJOR 17
ENV PATH $PATH:/usr/lib/postgresql/$PG_MAJOR/bin
RUN mkdir -p /var/run/postgresql && chown postgres:postgres /var/run/postgresql && chmod 3777 /var/run/postgresql
ENV PGDATA /var/lib/postgresql/data
# this 1777 will be replaced by 0700 at runtime
RUN mkdir -p "$PGDATA" && chown postgres:postgres "$PGDATA" && chmod 1777 "$PGDATA"
VOLUME /var/lib/postgresql/data
COPY app/entrypoint.sh /usr/local/bin/
RUN ln -sT usr/local/bin/entrypoint.sh /docker-entrypoint.sh
ENTRYPOINT ["entrypoint.sh"]
STOPSIGNAL SIGINT
EXPOSE 5432
CMD ["postgres"]
