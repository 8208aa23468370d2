FROM scratch AS base
COPY config.yaml /from-the-stage
FROM base
COPY package.json /
# case: build-context=base=context/src
