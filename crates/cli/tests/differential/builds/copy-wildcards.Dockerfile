FROM scratch
COPY *.yaml /a/
COPY src/*.? /b/
COPY */*.h /c/
COPY src/ma[ik]* /d/
COPY names/[[]a].txt /e/
COPY ["names/with*", "/f/"]
COPY n*/k?pt.md /g/
COPY conf*.ya* /h
