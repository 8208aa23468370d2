FROM scratch
COPY --exclude=*.h src /a
COPY --exclude=lib --exclude=*.c src /b
COPY --exclude=**/*.h --exclude=!src/lib/deep/x.h . /c/
COPY --exclude=deep/1/2 deep /d
COPY --exclude=*.md notes/* /e/
