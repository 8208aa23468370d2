FROM scratch
COPY config.yaml /
COPY config.yaml /renamed
COPY config.yaml package.json /both/
COPY ["config.yaml", "/json form/"]
COPY ./src/../config.yaml /cleaned
COPY /config.yaml /rooted
