FROM scratch
COPY config.yaml /
ONBUILD COPY . /app
ONBUILD RUN ["make", "all"]
ONBUILD ENV A=$B
