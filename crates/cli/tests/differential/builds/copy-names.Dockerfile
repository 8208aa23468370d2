FROM scratch
COPY names /names
COPY ["names/with space.txt", "names/-dash", "/o t/"]
COPY names/ümlaut.txt /ümlaut
COPY names/sparse names/empty /
COPY names/\$dollar /dollar
