FROM scratch AS busybox
COPY rootfs /
FROM busybox AS build
WORKDIR /app
COPY package.json ./
RUN mkdir node_modules && cp package.json node_modules/
COPY src ./src
RUN cat src/*.c > bundle
FROM busybox
WORKDIR /srv
COPY --from=build /app/bundle .
EXPOSE 8080
CMD ["cat", "/srv/bundle"]
