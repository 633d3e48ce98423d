from automon.cli import main

main(prog_name="automon")
