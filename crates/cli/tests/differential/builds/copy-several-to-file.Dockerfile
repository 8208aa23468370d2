FROM scratch
COPY config.yaml package.json /file
