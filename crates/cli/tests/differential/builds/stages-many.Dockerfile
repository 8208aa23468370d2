FROM scratch AS a
COPY config.yaml /a
FROM a AS b
COPY package.json /b
FROM b AS c
COPY src/main.c /c
FROM c AS d
COPY --from=a /a /d
FROM d
COPY --from=b /b /e
