FROM scratch AS busybox
COPY rootfs /
FROM busybox
RUN set -eux; addgroup -g 1999 mongodb; adduser -u 1999 -G mongodb -D -H mongodb; mkdir -p /data/db /data/configdb; chown -R mongodb:mongodb /data/db /data/configdb
ARG MONGO_PACKAGE=mongodb-org
ARG MONGO_REPO=repo.mongodb.org
ENV MONGO_PACKAGE=${MONGO_PACKAGE} MONGO_REPO=${MONGO_REPO}
ENV MONGO_MAJOR 9.0
RUN echo "deb https://$MONGO_REPO/apt/debian ${MONGO_PACKAGE%-unstable}/$MONGO_MAJOR main" | tee /etc/list
VOLUME /data/db /data/configdb
# ensure that if running as custom user the home directory is writable
ENV HOME /data/db
COPY app/entrypoint.sh /usr/local/bin/docker-entrypoint.sh
ENTRYPOINT ["docker-entrypoint.sh"]
EXPOSE 27017
CMD ["mongod"]
# case: build-arg=MONGO_PACKAGE=mongodb-enterprise-unstable
