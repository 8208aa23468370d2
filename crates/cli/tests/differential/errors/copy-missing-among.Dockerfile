FROM scratch
COPY config.yaml missing package.json /x/
