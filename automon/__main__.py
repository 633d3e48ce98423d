from automon.cli import main

main()
