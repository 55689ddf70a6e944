"""The prompt gate's words, as lists.

Who is a person, what only sounds like one, which adjectives need a person: data in lower case and
in the singular. A hyphen reads as a space, # as any number.
"""

from functools import cache

from fairgen.phrases import Key, forms


def _sorted(text: str) -> tuple[str, ...]:
    return tuple(sorted(" ".join(phrase.split()) for phrase in text.split(",")))


# Whom these call the same as another word does: "a farmer ... the person".
NEUTRAL = _sorted(
    """
    adult, anybody, anyone, figure, human, human being, individual, person, protagonist, somebody,
    someone
    """
)
# Words of a gender, an age or a rank, whatever else the person is called.
GENERIC = _sorted(
    """
    bloke, boy, child, dr, dude, elder, elderly, fellow, female, gal, gent, gentleman, girl, guy,
    kid, lad, lady, lass, madam, male, man, miss, mr, mrs, ms, mx, prof, senior, sir, teen,
    teenager, toddler, woman, youngster, youth
    """
)
# Kin, company and parts that people play.
ROLES = _sorted(
    """
    acquaintance, activist, admirer, adolescent, adventurer, adversary, anarchist, ancestor, angler,
    applicant, aristocrat, ascetic, attacker, attendee, aunt, auntie, bachelor, backpacker, bandit,
    bather, beachgoer, beauty queen, beggar, best man, birthday boy, birthday girl, bookworm, boss,
    boyfriend, bride, bridesmaid, brother, brother-in-law, buccaneer, buddy, burglar,
    businessperson, bystander, cadet, caller, camper, canoeist, captive, captor, castaway,
    cavalryman, celebrity, champion, churchgoer, citizen, classmate, client, co-worker, colleague,
    commuter, companion, competitor, comrade, concertgoer, concubine, conscript, conspirator,
    contender, contestant, countryman, courtesan, courtier, cousin, creator, crewman, crewmate,
    criminal, cultist, customer, cyclist, dad, daddy, dame, daredevil, daughter, daughter-in-law,
    debutante, defendant, delegate, descendant, deserter, devotee, disciple, drag queen, dreamer,
    drifter, employee, enemy, evacuee, expat, explorer, father, father-in-law, fiance, fiancee,
    firstborn, foreigner, founder, freediver, freedom fighter, friend, fugitive, gamer, gangster,
    genius, girlfriend, goddess, godfather, godmother, godparent, goth girl, graduate, grandchild,
    granddaughter, grandfather, grandma, grandmother, grandpa, grandparent, grandson, granny, great
    grandfather, great grandmother, groom, groomsman, guerrilla fighter, guest, guru, half brother,
    half sister, heiress, henchman, hermit, hero, heroine, hiker, hippie, hipster, hitchhiker,
    hitman, holidaymaker, homecoming queen, homeowner, homesteader, horse rider, hostage, housewife,
    husband, immigrant, informant, inhabitant, inmate, intern, interviewee, interviewer, intruder,
    islander, jester, jogger, kayaker, kitesurfer, knight, latecomer, listener, lodger, loner,
    lookout, lover, maid of honor, maiden, martyr, matriarch, matron, mentor, messenger, migrant,
    mobster, moderator, mom, mommy, monarchist, monk, mother, mother-in-law, motorcyclist, motorist,
    mugger, mum, musketeer, mystic, neighbor, neighbour, nephew, nerd, newborn, newcomer, newlywed,
    niece, nobleman, noblewoman, nomad, nun, observer, octogenarian, onlooker, opponent, orphan,
    outlaw, owner, paddler, pal, panelist, panhandler, parachutist, paraglider, paratrooper, parent,
    parishioner, participant, partner, partygoer, passenger, passer-by, passerby, patient,
    patriarch, patriot, patron, peasant, pedestrian, penitent, pensioner, picnicker, pilgrim,
    pioneer, pirate, plaintiff, player, poacher, prankster, prince, princess, prisoner, prodigy,
    prom queen, prophet, protester, protestor, prowler, punk rocker, pupil, rebel, recruit, redhead,
    refugee, relative, resident, retiree, revolutionary, rider, rival, robber, rocker, rollerblader,
    roommate, runner, sage, scholar, schoolboy, schoolchild, schoolgirl, schoolkid, seer, senior
    citizen, settler, shipmate, shoplifter, shopper, sibling, sidekick, sightseer, sister,
    sister-in-law, skateboarder, skater, skier, slave, smoker, smuggler, snorkeler, snowboarder,
    socialite, son, son-in-law, spectator, spinster, spouse, spy, squatter, squire, stepbrother,
    stepdaughter, stepfather, stepmother, stepsister, stepson, stowaway, stranger, student,
    suffragette, sunbather, superhero, superheroine, supervillain, survivor, suspect, swashbuckler,
    sweetheart, swimmer, teammate, tenant, thief, thinker, tourist, trainer, traitor, traveler,
    traveller, trekker, trespasser, tribesman, tribeswoman, trooper, uncle, unicyclist, vacationer,
    vagabond, vagrant, victim, villager, villain, visitor, volunteer, wanderer, warlock, warrior,
    whistleblower, widow, widower, wife, witch, witness, wizard, worshiper, worshipper, yogi, zealot
    """
)
# What people do for a living or with devotion; "school teacher" also matches as "teacher".
OCCUPATIONS = _sorted(
    """
    accordionist, accountant, acrobat, actor, actress, actuary, acupuncturist, administrator, agent,
    agronomist, aide, air hostess, air traffic controller, airman, ambulance driver,
    anaesthesiologist, anaesthetist, analyst, anchorman, anchorwoman, anesthesiologist, animator,
    announcer, anthropologist, antique dealer, apothecary, appraiser, apprentice, archaeologist,
    archeologist, archer, architect, archivist, art dealer, artisan, artist, assassin, assistant,
    astrologer, astronaut, astronomer, astrophysicist, athlete, attendant, attorney, attorney at
    law, au pair, auctioneer, audiologist, auditor, author, aviator, aviatrix, babysitter, baggage
    handler, bagpiper, bailiff, baker, ballerina, balloonist, banker, barber, bard, bargeman,
    barista, baritone, barmaid, barman, barrister, bartender, basket maker, basket weaver, bassist,
    bassoonist, batsman, beader, beatboxer, beautician, beekeeper, bellboy, bellhop, biathlete,
    biker, biochemist, biologist, bird watcher, birdwatcher, blacksmith, blogger, boat builder,
    boatman, boatswain, bodybuilder, bodyguard, bookbinder, bookkeeper, bookseller, bosun, botanist,
    bouncer, bowler, boxer, breakdancer, brewer, bricklayer, broadcaster, broker, builder,
    bullfighter, bus conductor, bus driver, busboy, businessman, businesswoman, busker, butcher,
    butler, buyer, cab driver, cabbie, cabinet maker, caddie, calligrapher, camera operator,
    cameraman, camerawoman, candle maker, candlemaker, cantor, cardiologist, caregiver, caretaker,
    caricaturist, carpenter, cartographer, cartoonist, cashier, cat lady, caterer, cellist,
    ceramicist, chaplain, charioteer, chauffeur, cheerleader, cheesemaker, chef, chemist, chess
    player, chimney sweep, chiropodist, chiropractor, choreographer, clarinetist, cleaner,
    clergyman, clerk, climber, clockmaker, clown, coach, coast guard officer, coastguard, cobbler,
    columnist, comedian, comedienne, commentator, composer, computer programmer, computer scientist,
    concierge, conductor, confectioner, congressman, congresswoman, conservator, constable,
    consultant, contortionist, contractor, contralto, cook, cop, coppersmith, copywriter, coroner,
    correspondent, cosmetologist, cosmonaut, costume designer, councillor, councilman, councilwoman,
    counsellor, counselor, courier, cowboy, cowgirl, cowhand, craftsman, craftsperson, craftswoman,
    cricket player, cricketer, criminologist, critic, crocheter, crofter, crooner, cryptographer,
    curator, custodian, dancer, data entry keyer, day laborer, deaconess, dean, decathlete,
    deckhand, decorator, deejay, dentist, dermatologist, designer, detective, developer, dietician,
    dietitian, diplomat, director, discus thrower, dispatcher, diver, dj, docker, dockhand,
    dockworker, doctor, dog groomer, dog handler, dog sitter, dog trainer, dog walker, doorman,
    draftsman, dragon dancer, dramatist, draper, draughtsman, dressmaker, driver, drone operator,
    drone pilot, drover, druid, drummer, ecologist, economist, editor, educator, electrician,
    embalmer, embroiderer, embryologist, emcee, endocrinologist, engine driver, engineer, engraver,
    entertainer, entomologist, entrepreneur, epidemiologist, equestrian, ethnologist, event planner,
    exterminator, factory worker, falconer, farm worker, farmer, farmhand, farrier, fashion
    designer, fashion model, fencer, ferryman, fiddler, fighter, fighter pilot, figure skater,
    filmmaker, financial adviser, financial advisor, firefighter, fireman, firewoman, fisher,
    fisherman, fisherwoman, fishmonger, fishwife, flautist, florist, flower girl, flower seller,
    flutist, footballer, footman, forager, foreman, forest ranger, forester, foundryman, freelancer,
    friar, fruit seller, furniture maker, gambler, gamekeeper, garbage collector, gardener,
    gastroenterologist, gaucho, geisha, general practitioner, geneticist, geographer, geologist,
    glaciologist, gladiator, glass blower, glassblower, glazier, gleaner, glovemaker, goalie,
    goalkeeper, goatherd, gold digger, gold miner, goldsmith, golfer, gondolier, governess,
    gravedigger, greengrocer, grocer, ground handler, groundskeeper, guard, guide, guitar player,
    guitarist, gunslinger, gunsmith, gymnast, gynaecologist, gynecologist, hacker, hair stylist,
    hairdresser, hairstylist, handyman, harmonicist, harpist, headhunter, headmaster, headmistress,
    healer, helmsman, hematologist, herbalist, herdsman, herpetologist, historian, horse breeder,
    horse trainer, horseman, horsewoman, horticulturist, host, hostess, hotel clerk, hotelier, house
    cleaner, house painter, housekeeper, hunter, huntress, hurdler, hydrologist, hygienist,
    hypnotherapist, hypnotist, ice cream seller, ice skater, illusionist, illustrator, imam,
    immunologist, infantryman, influencer, innkeeper, inspector, installer, instructor, instrument
    maker, interior decorator, interior designer, interpreter, inventor, investigator, investor,
    ironworker, jailer, janitor, javelin thrower, jeweler, jeweller, jockey, journalist, judoka,
    juggler, juror, keyboardist, keynote speaker, kickboxer, knife thrower, knitter, lab assistant,
    lab technician, laborer, labourer, lacemaker, landlady, landlord, landscaper, laundress,
    lawmaker, lawyer, leader, leatherworker, lecturer, legislator, librarian, lifeguard, lighthouse
    keeper, linebacker, lineman, linguist, lion dancer, lion tamer, lobbyist, locksmith, logger,
    logistician, longshoreman, luchador, lumberjack, lumberjill, lutenist, luthier, machinist,
    magician, magistrate, maid, mail carrier, mailman, makeup artist, manager, manicurist, mariachi,
    marine biologist, marksman, masseur, masseuse, matador, mathematician, mechanic, medic,
    mercenary, merchant, metalworker, meteorologist, microbiologist, midfielder, midwife, milkmaid,
    milkman, miller, milliner, mime, mime artist, miner, minstrel, missionary, mixologist,
    mortician, mountain climber, mountain guide, mountaineer, mover, movie star, muezzin, muralist,
    museum guide, musician, mycologist, nail technician, nanny, naturalist, navigator, nephrologist,
    neurologist, neuroscientist, neurosurgeon, news anchor, newsagent, newscaster, newsreader,
    ninja, notary, novelist, nurse, nurse anesthetist, nurse practitioner, nutritionist, oboist,
    obstetrician, oceanographer, office worker, officer, officiant, oil worker, oncologist,
    operator, ophthalmologist, optician, optometrist, organist, ornithologist, orthodontist,
    orthopedist, oyster shucker, oysterman, paediatrician, painter, palaeontologist, paleontologist,
    palm reader, papermaker, paralegal, paramedic, park ranger, pastor, pathologist, peddler,
    pediatrician, percussionist, performer, perfumer, pharmacist, pharmacologist, philanthropist,
    philosopher, phlebotomist, photographer, photojournalist, physician, physicist, physiologist,
    physiotherapist, pianist, piano player, piano tuner, pickpocket, pilot, pitmaster, plane
    spotter, plasterer, playwright, ploughman, plumber, podcaster, podiatrist, poet, pole vaulter,
    police constable, police detective, police inspector, police officer, policeman, policewoman,
    politician, pop star, porter, postman, postwoman, potter, powerlifter, preacher, presenter,
    priest, priestess, primatologist, printmaker, prison guard, private eye, prizefighter, producer,
    programmer, projectionist, proofreader, prosecutor, prospector, psychiatrist, psychic,
    psychologist, psychotherapist, public speaker, publican, publicist, publisher, pulmonologist,
    pundit, puppeteer, purser, quarryman, quarterback, quilter, rabbi, race car driver, racer, radio
    host, radiographer, radiologist, ranch hand, rancher, ranger, rapper, receptionist, recruiter,
    referee, repairman, reporter, representative, rescuer, researcher, restaurateur, rheumatologist,
    ringmaster, rock climber, rock star, rocket scientist, roofer, ropemaker, roughneck, rower,
    sacristan, saddler, sailmaker, sailor, sales rep, salesclerk, salesman, salesperson, saleswoman,
    saxophonist, school principal, school teacher, schoolmaster, schoolteacher, scientist,
    screenwriter, scribe, scriptwriter, sculptor, sculptress, seafarer, seaman, seamstress,
    seismologist, seller, servant, serviceman, servicewoman, sexton, shaman, sharpshooter, shearer,
    sheep shearer, shepherd, shepherdess, sherpa, shipbuilder, shipwright, shoe shiner, shoemaker,
    shop assistant, shopkeeper, shot putter, showgirl, signalman, silversmith, singer,
    singer-songwriter, sitarist, skipper, skydiver, smallholder, sniper, sociologist, soldier,
    solicitor, sommelier, songwriter, soprano, sorcerer, sorceress, specialist, spelunker,
    spokesperson, sportscaster, sportsman, sportswoman, sprinter, stablehand, stagehand, stand-up
    comedian, statesman, stationer, statistician, steelworker, stenographer, stevedore, steward,
    stewardess, stockbroker, stocker, stoker, stonecutter, stonemason, storyteller, strategist,
    streamer, street artist, street cleaner, street musician, street performer, street sweeper,
    street vendor, stunt double, stuntman, stuntwoman, stylist, superintendent, supermodel,
    supervisor, surfer, surgeon, surveyor, sushi master, swineherd, swordmaker, swordsman,
    swordsmith, swordswoman, tailor, tattoo artist, tattooist, tax collector, taxidermist, tea
    master, teacher, technician, technologist, telemarketer, teller, tenor, thatcher, theologian,
    therapist, thresher, tightrope walker, tinsmith, tobacconist, toolmaker, town crier,
    toxicologist, toymaker, trader, train conductor, train driver, trainee, trampolinist,
    translator, trapper, trawlerman, tree surgeon, triathlete, trombonist, troubadour, truck driver,
    trucker, trumpeter, tutor, typist, umpire, undertaker, underwriter, upholsterer, urban planner,
    urologist, usher, valet, vaquero, vendor, ventriloquist, verger, vet, veteran, veterinarian,
    vicar, videographer, vigilante, vintner, violin maker, violinist, virologist, vlogger, vocalist,
    volcanologist, waiter, waitress, warden, washerwoman, watchmaker, watchman, water carrier,
    weather forecaster, weatherman, weaver, wedding planner, weightlifter, welder, whaler,
    wheelwright, wigmaker, window cleaner, window washer, winemaker, woodcarver, woodcutter,
    woodworker, worker, wrestler, writer, xylophonist, zookeeper, zoologist
    """
)
# Offices and ranks.
TITLES = _sorted(
    """
    abbess, abbot, admiral, air marshal, ambassador, archbishop, archduchess, archduke, army
    general, army major, ayatollah, baron, baroness, bishop, brigadier, captain, catholic cardinal,
    ceo, cfo, chairman, chairperson, chairwoman, chancellor, chief executive, chief of police,
    chieftain, colonel, commander, commander-in-chief, commissioner, congressperson, corporal,
    countess, cto, deacon, duchess, duke, earl, emir, emperor, empress, field marshal, fire chief,
    first lady, four star general, governor, head of state, judge, king, lieutenant, lord, madame,
    maharaja, maharani, mayor, mayoress, minister, monarch, monsignor, nobel laureate, petty
    officer, police chief, pope, president, prime minister, professor, queen, rear admiral, regent,
    reverend, secretary, secretary general, senator, sergeant, sheik, sheikh, sheriff, sultan,
    sultana, supreme court justice, tribal chief, tsar, tsarina, vice admiral, vice president,
    viceroy, viscount
    """
)
# Adjectives or things as well: people only where the phrase ends with them.
NOUNS_TOO = _sorted(
    """
    adult, baby, blonde, brunette, elder, elderly, executive, expert, fellow, female, figure,
    general, homeless, human, individual, infant, male, marine, master, model, saint, senior, teen,
    year old, youth
    """
)
# More than one person, as are the plurals of the words above.
COLLECTIVES = _sorted(
    """
    army, audience, band, boy band, brass band, bridal party, brotherhood, choir, clan, clergy,
    committee, congregation, couple, crew, crowd, duo, everybody, everyone, family, family of #,
    family of five, family of four, family of six, family of three, father daughter, father son,
    folks, gang, group, group of #, hospital staff, husband wife, jazz band, jury, kitchen staff,
    marching band, medical staff, militia, mob, mother daughter, mother son, newlyweds, orchestra,
    people, platoon, police, posse, quartet, quintet, regiment, rock band, sisterhood, squad, swat
    team, team, tribe, trio, triplets, troop, troupe, twins, workforce
    """
)
PRONOUNS = _sorted("he, herself, him, himself, she")
# Pictures that show a person if nothing else is named as their subject.
PORTRAITS = _sorted("headshot, mugshot, passport photo, portrait, self portrait, selfie")
# Individuals, living, dead or made up, and roles of a time and place whose people are known: an
# identity implies every attribute.
FIGURES = _sorted(
    """
    abe lincoln, abraham lincoln, achilles, ada lovelace, adele, adolf hitler, agatha christie,
    aladdin, american gothic, andy warhol, angelina jolie, aphrodite, ariana grande, aristotle,
    arnold schwarzenegger, athena, attila the hun, aung san suu kyi, ayrton senna, aztec warrior,
    baby yoda, bach, barbie, batman, batwoman, beckham, beethoven, beyonce, biden, bill clinton,
    bill gates, billie eilish, billie holiday, bismarck, black panther, bob dylan, bob marley,
    buddha, captain ahab, captain america, captain hook, captain jack sparrow, captain kirk,
    caravaggio, cary grant, catwoman, charlemagne, che guevara, chopin, christ the redeemer,
    churchill, cinderella, cleopatra, clint eastwood, coco chanel, confederate soldier, confucius,
    conquistador, copernicus, crazy horse, cristiano ronaldo, crusader, da vinci, daenerys
    targaryen, dalai lama, dante alighieri, darth vader, darwin, david attenborough, david beckham,
    david bowie, desmond tutu, doctor strange, don quixote, dostoevsky, dr jekyll, dr strange,
    dracula, duke of edinburgh, duke of wellington, dumbledore, dwayne johnson, edvard munch,
    einstein, eisenhower, elon musk, elton john, elvis, elvis presley, eminem, emmanuel macron,
    emmeline pankhurst, feynman, fidel castro, florence nightingale, forrest gump, founding father,
    frankenstein, franklin d roosevelt, franklin roosevelt, franz kafka, freddie mercury, freud,
    frodo, galilei, galileo, galileo galilei, gandalf, gandhi, ganesh, garibaldi, genghis khan,
    george floyd, george orwell, george w bush, george washington, geralt, girl with a pearl
    earring, goethe, golda meir, goya, grace hopper, grace kelly, guy fawkes, hagrid, han solo,
    hannibal lecter, harrison ford, hercules, hippocrates, hitler, hokusai, homer simpson, hypatia,
    immanuel kant, indiana jones, iron man, ironman, jack sparrow, jack the ripper, jackie chan,
    jackie kennedy, jane austen, jane goodall, jesus, jesus christ, jimi hendrix, jon snow, judy
    garland, juliet, kafka, kamala harris, katniss everdeen, kennedy, kepler, kim kardashian, king
    arthur, king charles, king david, king george, king henry viii, king lear, king midas, king of
    england, king solomon, king tut, krampus, krishna, lady gaga, lady godiva, lady macbeth,
    lafayette, laozi, lara croft, lawrence of arabia, lebron james, legolas, leonhard euler, lewis
    hamilton, little red riding hood, loki, lolita, lord byron, lord nelson, louis armstrong, louis
    pasteur, louis xiv, lucille ball, macron, madonna and child, mahatma gandhi, malala, malala
    yousafzai, mandela, mao zedong, mark twain, mark zuckerberg, marlon brando, martin luther,
    martin luther king, martin luther king jr, mata hari, max planck, maya angelou, merkel, meryl
    streep, messi, michelangelo, mickey mouse, miles davis, minnie mouse, mona lisa, morgan freeman,
    moses, mother teresa, mozart, mr bean, mr darcy, mr spock, mrs claus, mulan, mussolini,
    napoleon, napoleon bonaparte, narendra modi, nazi, nefertiti, nelson mandela, newton, niccolo
    machiavelli, nicolaus copernicus, niels bohr, nietzsche, nikola tesla, nixon, nostradamus,
    obama, odysseus, ophelia, oppenheimer, oprah winfrey, oscar wilde, othello, pavarotti, pele,
    pharaoh, picasso, pikachu, plato, pocahontas, pope francis, pope john paul ii, poseidon, prince
    charles, prince harry, prince of wales, prince william, princess diana, princess leia, princess
    mononoke, princess peach, prophet muhammad, putin, pythagoras, queen anne, queen elizabeth,
    queen elizabeth i, queen elizabeth ii, queen of england, queen victoria, rasputin, ray charles,
    reagan, rembrandt, rihanna, robespierre, robin hood, robinson crusoe, rocky balboa, roman
    centurion, roman legionary, romeo, ronaldo, sacagawea, saddam hussein, sailor moon, saint
    nicholas, samurai, santa, santa claus, sauron, scarlett johansson, serena williams, shakespeare,
    sherlock holmes, shiva, shogun, sigmund freud, sitting bull, snow white, socrates, sojourner
    truth, spartacus, spider man, spiderman, stalin, sun tzu, supergirl, superman, taylor swift,
    tchaikovsky, the joker, the virgin mary, thor, tiger woods, titian, tolstoy, toulouse lautrec,
    tupac, tutankhamun, tyrion lannister, ulysses, usain bolt, van gogh, venus williams, vermeer,
    victor hugo, viking, virgin mary, virginia woolf, vivaldi, voldemort, voltaire, wagner, walt
    disney, walt whitman, warren buffett, will smith, willem dafoe, willy wonka, wonder woman, yoda,
    zelensky, zendaya, zeus, zorro
    """
)
# These are no people whatever their words say, and name nobody's attribute.
OTHER_USES = _sorted(
    """
    3d model, action figure, air cleaner, aloe vera, apple cobbler, army green, australian shepherd,
    baby blue, baby carrot, baby grand, baby pink, bachelor button, bachelor of arts, bachelor pad,
    berry cobbler, black and white, black forest, black friday, black hole, black sea, black widow,
    blackberry cobbler, blade runner, bloody mary, bronze age, brown sugar, brown university, burger
    king, captain crunch, captain morgan, car model, card reader, carpet runner, cassette player,
    cat walk, cd player, cherry cobbler, chess bishop, chess king, chess knight, chess queen, clay
    model, cook islands, couple of, crane fly, crew cut, crew neck, cup holder, dairy queen, dark
    chocolate, dark fantasy, dark matter, dark mode, dark souls, dark web, device driver, doctor of
    philosophy, dr martens, dr pepper, drain cleaner, dvd player, earl grey, elastic band, father
    christmas, father time, file explorer, first person perspective, first person shooter, first
    person view, fruit cobbler, german shepherd, gingerbread man, girl scout cookie, golden age,
    golden gate, golden hour, golden ratio, golf driver, grandfather clock, guard of honour, guard
    rail, guide dog, guide to, head band, hero image, hero section, hero shot, horse drawn coach,
    host of, human anatomy, human rights, hunter green, in general, internet explorer, iron age,
    iron maiden, isle of man, jack of all trades, jack of clubs, jack of diamonds, jack of hearts,
    jack of spades, king of clubs, king of diamonds, king of hearts, king of spades, king of the
    jungle, king size, lady bug, lady finger, lady justice, lady liberty, lady slipper, light and
    shadow, light bulb, light saber, light year, lightning conductor, lord of the flies, lord of the
    rings, man cave, man eater, man hole, man made, man of war, man's best friend, master bedroom,
    master copy, master key, master of arts, master of puppets, master of science, master plan,
    media player, model airplane, model kit, model of, model railroad, model railway, model train,
    mother board, mother earth, mother nature, mother of pearl, mother tongue, mount cook, mouth
    guard, mp3 player, mr clean, mr potato head, mrs potato head, mud guard, music player, no one,
    notre dame, old bailey, old english sheepdog, old faithful, old fashioned, old glory, old
    master, old school, old spice, old testament, old trafford, old west, old world, oven cleaner,
    painted lady, peach cobbler, people carrier, people mover, pile driver, pilot light, pipe
    cleaner, player piano, pool cleaner, prince edward island, printer driver, queen anne chair,
    queen mary, queen of clubs, queen of diamonds, queen of hearts, queen of spades, queen of the
    night, queen size, record player, red admiral, rembrandt lighting, robber fly, rubber band,
    scale model, screw driver, second person view, sergeant major fish, shin guard, sleeping beauty,
    snow man, soldier fly, splash guard, spy glass, stage coach, stair runner, stick figure, stick
    man, stone age, table runner, terracotta army, the thinker, third person perspective, third
    person shooter, third person view, tin man, tin soldier, toy soldier, uncle ben, uncle sam,
    vacuum cleaner, van gogh museum, video player, virgin forest, virgin islands, virgin olive oil,
    vitruvian man, walking stick, watch band, water boatman, wax museum, wedding band, white
    balance, white chocolate, white christmas, white house, white noise, white sea, witch hazel,
    wizard of oz, young adult novel, young at heart
    """
)
# Animals and other beings. A word for a person beside one is no person: "mother bear", "king
# penguin", "cat astronaut".
ANIMALS = _sorted(
    """
    albatross, alien, alligator, alpaca, android, angelfish, animal, ant, anteater, antelope, ape,
    aphid, armadillo, axolotl, baboon, badger, barracuda, bat, beagle, bear, beaver, bee, beetle,
    bird, bison, boar, bobcat, buffalo, bug, bull, bulldog, bumblebee, bunny, butterfly, buzzard,
    calf, camel, canary, capybara, caracal, cardinal, caribou, carp, cassowary, cat, caterpillar,
    cattle, centipede, chameleon, cheetah, chick, chicken, chihuahua, chimp, chimpanzee, chinchilla,
    chipmunk, cichlid, clam, clownfish, cobra, cockatoo, cockroach, cod, collie, colt, condor,
    corgi, cougar, cow, coyote, crab, crayfish, creature, cricket, crocodile, crow, cub, dachshund,
    dalmatian, deer, dingo, dinosaur, dobermann, dog, dolphin, donkey, dove, dragon, dragonfly,
    droid, duck, duckling, eagle, earwig, echidna, eel, egret, elephant, elk, emu, falcon, fawn,
    ferret, finch, firefly, fish, flamingo, foal, fox, frog, gazelle, gecko, gerbil, ghost, gibbon,
    giraffe, gnome, goat, goblin, golden retriever, goldfish, golem, goose, gorilla, grasshopper,
    gremlin, greyhound, griffin, grizzly, guinea pig, gull, guppy, haddock, halibut, hamster, hare,
    hawk, hedgehog, hen, heron, hippo, hippopotamus, hornet, horse, hound, hummingbird, husky,
    hyena, hyrax, ibex, ibis, iguana, impala, insect, jackal, jaguar, jellyfish, jerboa, kangaroo,
    kestrel, kingfisher, kitten, kitty, koala, koi, kookaburra, kraken, labrador, ladybird, ladybug,
    lamb, larva, larvae, lemming, lemur, leopard, lion, lioness, lizard, llama, lobster, lynx,
    macaque, macaw, mackerel, magpie, mallard, mammoth, manatee, mandrill, mannequin, manta ray,
    mantis, mare, marmot, mastiff, meerkat, minion, minotaur, mongoose, monkey, monster, moose,
    mosquito, moth, mouse, mule, mussel, narwhal, newt, numbat, ocelot, octopus, ogre, okapi,
    orangutan, orc, orca, oryx, ostrich, otter, owl, ox, oyster, panda, pangolin, panther, parakeet,
    parrot, peacock, pelican, penguin, pet, pheasant, pig, pigeon, piglet, pika, platypus, polar
    bear, pony, poodle, porcupine, porpoise, prawn, puffin, pug, puma, pup, puppy, python, quail,
    quokka, rabbit, raccoon, ram, rat, rattlesnake, raven, red panda, reindeer, retriever, rhino,
    rhinoceros, robin, robot, rodent, rooster, rottweiler, salamander, salmon, sardine, scarecrow,
    schnauzer, scorpion, sea lion, sea turtle, seadragon, seagull, seahorse, seal, serval, shark,
    sheep, sheepdog, shrew, shrimp, skeleton, skunk, sloth, slug, smurf, snail, snake, snowman, sow,
    spaniel, sparrow, spider, squid, squirrel, stag, stallion, starfish, stingray, stoat, stork,
    swan, tabby, tadpole, tapir, tarantula, tarsier, teddy, teddy bear, termite, terrier, tetra,
    tiger, toad, tortoise, toucan, triceratops, troll, trout, tuna, turkey, turtle, tyrannosaurus,
    unicorn, velociraptor, viper, vole, vulture, wallaby, walrus, warthog, wasp, weasel, weevil,
    werewolf, whale, wildcat, wildebeest, wolf, wolfhound, wolverine, wombat, woodpecker, worm,
    wren, xenomorph, yak, zebra, zombie
    """
)
# What a word for a person only describes ("police car"), and what takes an adjective that stands
# before it ("white coat", "old house").
THINGS = _sorted(
    """
    academy, accessory, ad, advertisement, aircraft, airplane, alley, almond, ambulance, anatomy,
    anchor, apartment, apparel, apple, apron, aquarium, arena, armchair, armor, armour, art, attire,
    avenue, award, axe, backdrop, background, backpack, badge, bag, balcony, ball, balloon, bandana,
    banner, bar, barge, barn, barracks, basement, basket, bathrobe, bathroom, bay, beach, bed,
    bedroom, beer, bell, belt, bench, beret, bible, bicycle, bike, bikini, blanket, blazer, block,
    blouse, boat, bone, bonnet, bonsai, book, bookcase, boot, booth, boots, bottle, boulevard,
    bouquet, bow, bowl, bowtie, box, boxers, bracelet, bread, brick, bridge, brim, broom,
    broomstick, brush, bucket, building, bulb, bunker, burqa, bus, bush, bust, button, cab, cabin,
    cabinet, cactus, cafe, cafeteria, cake, calendar, camera, camp, candle, cane, canoe, canvas,
    canyon, cap, cape, car, card, cardigan, carpet, carriage, cart, case, castle, cathedral,
    cauldron, cave, ceiling, cellar, cemetery, center, centre, certificate, chair, chalkboard,
    chamber, chandelier, chapel, chariot, chart, cherry, chess, chessboard, chocolate, church,
    cigar, cigarette, city, classroom, cliff, clinic, clipboard, cloak, clock, clogs, closet, cloth,
    clothes, clothing, cloud, club, coast, coat, coated, coffee, coffin, coin, collar, college,
    column, comb, comic, compass, computer, concrete, cookbook, cookie, corset, costume, cottage,
    couch, counter, court, courtyard, couture, cradle, crate, crater, cravat, creek, crescent,
    crest, crib, cross, crown, cup, curtain, cushion, dagger, daisy, day, deck, denim, desert, desk,
    diagram, diary, diploma, dish, district, dock, doll, dome, door, doorway, drawer, dress,
    dressed, drink, drone, drum, dune, duty, earring, easel, elevator, emblem, engine, episode,
    equipment, fabric, factory, fan, farm, fashion, feather, fence, fern, ferry, field, figurine,
    fjord, flag, flat, floor, flower, fog, folder, food, forest, fork, fort, fortress, fountain,
    frame, fridge, fruit, fur, furniture, gallery, garage, garden, garment, gate, gavel, gear, gi,
    glacier, glasses, glove, gloved, gold, gown, grass, grave, guitar, gun, gym, hall, hallway,
    hammer, handbag, handcuffs, haori, harbor, harbour, hat, hatted, headband, headdress, headscarf,
    hedge, heel, helicopter, helmet, highway, hijab, hill, hoodie, hook, hospital, hostel, hotel,
    house, housing, hut, ice, icon, ink, inn, instrument, interior, island, ivory, jacket, jar,
    jeans, jersey, jet, jewel, jewellery, jewelry, joggers, juice, jumper, jumpsuit, jungle, kayak,
    kettle, key, keyboard, kilt, kimono, kiosk, kitchen, kite, knife, lab, ladder, lake, lamp, lane,
    lantern, laptop, lawn, leaf, leather, leggings, lens, leotard, letter, library, licence,
    license, lighthouse, lily, limousine, lipstick, loafers, lobby, locker, locket, log, log book,
    logo, lounge, luggage, machine, magazine, mailbox, makeup, manor, mansion, mantle, manual, map,
    marble, market, mask, masked, mat, mattress, meadow, medal, melon, memorial, menu, metal,
    microphone, microscope, mill, mirror, mist, mitten, monastery, monument, moon, mosque, motel,
    motorbike, motorcycle, mountain, mug, mural, museum, mushroom, nail, napkin, necklace, necktie,
    neighborhood, newspaper, notebook, oak, oar, ocean, office, oil, orbit, orchard, orchid,
    orientation, outfit, overalls, overcoat, paddle, pajamas, palace, palette, palm, pan, pants,
    paper, parchment, park, passport, path, pavement, pen, pencil, peninsula, penthouse, pepper,
    pharmacy, phone, piano, pie, pier, pillar, pillow, pin, pine, pipe, pizza, plain, plane, plant,
    plaque, plate, platform, playground, plaza, plum, pocket, podium, pole, poncho, pond, pool,
    porcelain, porch, port, portal, poster, pot, potato, potion, pouch, printer, prison, prop,
    protea, pub, pump, purse, quarters, quilt, radio, railing, railway, raincoat, ranch, razor,
    restaurant, ribbon, rifle, ring, river, road, robe, robed, rock, rocket, roof, room, rope, rose,
    row house, rug, ruin, ruins, saber, sack, saddle, salad, salon, sand, sandal, sandwich, sari,
    sash, satchel, scarf, scepter, school, scissors, scooter, screen, scroll, scrubs, sculpture,
    sea, seat, seed, service, setup, shaped, shawl, shed, shelf, shell, sherwani, shield, ship,
    shipwreck, shirt, shoe, shop, shore, shorts, sign, silk, sim, simulator, sink, sized, skirt,
    skull, sky, skyline, skyscraper, sled, sleeve, sleigh, slipper, smock, smoke, sneaker, snow,
    sock, sofa, soup, spaceship, spacesuit, spear, spectacles, spoon, square, stadium, stage,
    staircase, stall, stamp, stand, station, statue, statuette, stethoscope, stick, sticker,
    stocking, stone, stool, store, storm, stove, street, strike, stripe, stroller, studio, style,
    submarine, suit, suitcase, suited, sunglasses, sunhat, swamp, sweater, sweatshirt, swimsuit,
    sword, symbol, syringe, t shirt, table, tail, tank, tapestry, tarmac, tattoo, tavern, tea,
    teacup, teapot, temple, tent, terrace, theater, theatre, themed, throne, tie, tile, tire, toga,
    tomato, tomb, tool, toolbox, torch, tower, town, track, tracksuit, tractor, trail, trailer,
    train, trainers, tram, trap, tray, tree, trench, tricycle, trolley, trophy, trousers, truck,
    trunk, tulip, tunic, tunnel, turban, turtleneck, tutu, tuxedo, typewriter, umbrella, uniform,
    university, utensil, valley, van, vase, vault, vehicle, veil, velvet, vest, villa, village,
    vineyard, violin, voyage, wagon, waistcoat, wall, wallet, wallpaper, ward, wardrobe, watch,
    water, waterfall, wave, weapon, wheel, wheelchair, whip, whiskey, whisky, whistle, wig,
    windmill, window, wine, wing, wire, wok, wood, woods, wool, workshop, yacht, yard, yard sale,
    zone
    """
)
# What owners of these are in the picture with: "a farmer's hands".
BODY = _sorted(
    """
    arm, back, beard, body, braid, brow, cheek, chin, close up, curl, ear, expression, eye, eyebrow,
    eyed, face, finger, fist, foot, forehead, gaze, grin, hair, haired, hairstyle, hand, head, leg,
    lip, moustache, mouth, mustache, nose, profile, shoulder, silhouette, smile, tooth, torso
    """
)
# Named as makers of a picture, they are not shown in it: "by a famous painter".
MAKERS = _sorted(
    """
    animator, architect, artist, cartoonist, child, cinematographer, designer, director, filmmaker,
    illustrator, master, painter, photographer, printmaker, sculptor
    """
)
# Whoever these or most things are of is not in the picture: "in the style of a master".
BELONGINGS = _sorted(
    """
    biography, grave, home, manner, name, sense, shape, size, skull, spirit, story, tools, works
    """
)
# Things that show whom they are of.
DEPICTIONS = _sorted(
    """
    art, book, calendar, canvas, card, coin, comic, frame, icon, logo, magazine, medal, mirror,
    mural, passport, phone, poster, screen, scroll, stage, stamp, sticker, tapestry, tattoo,
    wallpaper, window
    """
)
# What follows these is a surname, whatever else it means: "Mrs. Peacock".
HONORIFICS = _sorted(
    """
    colonel, dr, inspector, lieutenant, miss, mr, mrs, ms, mx, prof, professor, sergeant, sir
    """
)
# Offices whose holder a name tells: "Queen Victoria", "President Lincoln".
SOVEREIGNS = _sorted(
    """
    chancellor, czar, emperor, empress, king, minister, pope, president, prime minister, prince,
    princess, queen, saint, senator, sultan, tsar, tsarina
    """
)
# Given names that are no words, places or surnames first: a name is somebody's.
NAMES = _sorted(
    """
    aaron, abdul, abdullah, abigail, adaeze, adam, adrian, agnes, ahmed, aiko, aisha, akira, alan,
    albert, alejandro, aleksandr, alessandro, alexander, alexandra, alfred, ali, alice, alicia,
    alison, amara, amelia, amina, amy, ana, ananya, anastasia, anders, andrea, andreas, andrew,
    angela, anil, anita, anna, anne, annie, anthony, antoine, antonia, arjun, arthur, astrid,
    audrey, ava, barack, barbara, beatrice, benjamin, benoit, bernard, bernie, beth, betty, bianca,
    bjorn, boris, brad, brandon, brenda, brian, bridget, brigitte, brittany, bruce, caleb, cameron,
    camilla, camille, carla, carlos, carmen, caroline, catherine, cecilia, celine, charles, charlie,
    cheryl, chidi, chinua, chloe, chris, christina, christine, christopher, cindy, claire, clara,
    claude, claudia, colin, connor, consuelo, craig, curtis, cynthia, damien, daniel, danielle,
    daphne, darren, dave, debbie, deborah, deepak, denise, dennis, derek, diana, diane, didier,
    diego, dmitri, dolores, dominic, donald, donna, doris, dorothy, duncan, dustin, edgar, edith,
    edmund, edna, eduardo, edward, ekaterina, elaine, eleanor, elena, eli, elias, elijah, eliza,
    elizabeth, ella, ellen, elodie, elsa, emile, emily, emma, enrique, eric, erica, erik, ernest,
    ernesto, esperanza, ethan, etienne, eugene, eva, evelyn, ezra, fabien, fatima, felipe, felix,
    fernando, fiona, floyd, francesca, francis, francois, frederick, freya, frida, friedrich,
    gabriel, gabriela, galina, gareth, gary, gavin, genevieve, geoffrey, gerald, gerard, gertrude,
    gilles, gina, giovanni, giuseppe, gordon, greg, gregory, greta, guadalupe, guillaume, gunnar,
    gustav, gustavo, hamid, hamza, hannah, hans, harold, harriet, harry, haruki, hassan, hayao,
    hector, helen, helena, henri, henrik, henry, hermione, hernan, hilary, hillary, hiroshi, howard,
    hugo, hussein, hyun, ian, ibrahim, ignacio, igor, indira, ines, ingmar, ingrid, irene, irina,
    isaac, isabel, isabella, isabelle, ismail, ivan, ivana, jacob, jacques, jake, jamal, james,
    jamie, janet, jared, jason, javier, jean, jean paul, jeff, jeffery, jeffrey, jennifer, jenny,
    jeremy, jerome, jerry, jessica, jill, jim, jimmy, joan, joanna, joanne, joaquin, jodie, joe,
    johann, johannes, john, johnny, jonah, jonathan, jorge, joseph, josephine, joshua, joyce, juana,
    judith, julia, julian, julie, julio, julius, jun, karen, karim, karl, kate, katherine, katie,
    kavita, keanu, keiko, keith, kenji, kenneth, kenta, kevin, khadija, khalid, kimberly, kirsten,
    klaus, kofi, kristen, ksenia, kurt, kwame, kyle, lakshmi, larisa, larry, lars, latifa, laura,
    lauren, laurence, laurent, layla, leah, leila, lena, leo, leon, leonard, leonardo, lerato, lev,
    liam, lillian, linda, lionel, lisa, lise, liv, lola, lorenzo, lorraine, luc, lucas, lucia, lucy,
    ludmila, ludwig, luigi, luis, luke, lydia, lynn, maggie, magnus, mahmoud, malcolm, manuel,
    marcelo, marcia, marco, marcus, margaret, margot, maria, mariano, marie, marilyn, mario, marion,
    marjorie, marlene, martha, mary, mateo, mathieu, matilda, matteo, matthew, maurice, mavis,
    meera, megan, mehmet, melanie, melissa, mia, michael, michel, michelle, miguel, mikhail,
    mildred, min jun, miriam, mohamed, mohammed, molly, monica, muhammad, mustafa, myra, nadia,
    naoko, naomi, nasser, natalia, natalie, natasha, nathalie, nathan, nathaniel, neil, nellie,
    nicholas, nicole, nigel, nikita, nikolai, nils, nina, nisha, nkosi, noah, noel, noor, norma,
    odette, oksana, olaf, oleg, olga, oliver, olivia, olivier, oluwaseun, omar, otto, owen, pablo,
    pamela, pascal, patricia, patrick, paul, paula, pauline, pavel, pedro, peggy, pernille, peter,
    philip, philippe, phoebe, phyllis, pierre, pilar, piotr, polly, pooja, priya, quentin, rachel,
    rafael, rahul, rajesh, rajiv, ralph, ramon, rashid, raul, ravi, raymond, rebecca, regina, rene,
    rhonda, ricardo, richard, rita, robert, roberta, roberto, rodrigo, roger, rohan, roland, ronald,
    rosa, rosalind, rosie, roxanne, rudolf, rupert, ruth, ryan, sabrina, sally, salma, salvador,
    sam, samantha, samira, samuel, sandra, sanjay, sara, sarah, satoshi, sebastian, sergei, sergey,
    sergio, sharon, sheila, sheldon, shirley, sidney, sigrid, silvia, simon, simone, sipho, sofia,
    sonia, soo jin, sophia, sophie, stefan, stella, stephanie, stephen, steve, steven, stuart,
    sunita, susan, suzanne, sven, svetlana, sylvia, sylvie, takeshi, tamara, tariq, tatiana,
    tatyana, terence, teresa, thabo, theodore, theresa, thierry, thomas, tiffany, tim, timothy,
    tina, tobias, todd, tom, tommy, tony, tracy, trevor, trudy, ursula, valentina, valerie, vanessa,
    vasily, vera, veronica, vicente, vijay, vikram, vincent, vincenzo, vivian, vladimir, walter,
    wanda, wangari, wayne, wei, wendy, wesley, wilhelm, william, winifred, winston, wolfgang,
    xavier, xiu, yasmin, yasser, yelena, yoko, yolanda, yuki, yumi, yuri, yusuf, yves, yvonne,
    zachary, zainab, zara, zoe, zola
    """
)
# What they are made of or as is no person: "lego firefighter", "marble goddess".
FIGURINES = _sorted(
    """
    cardboard, ceramic, clay, claymation, crochet, crocheted, felt, funko, gingerbread, inflatable,
    knitted, lego, marble, marionette, miniature, nutcracker, origami, papier mache, plastic,
    playmobil, plush, plushie, porcelain, puppet, stone, stuffed, terracotta, tin, toy, wax, wooden
    """
)
# People whose work is the animal or the material that is named before them.
KEEPERS = _sorted(
    """
    artist, blower, breeder, burglar, caretaker, carver, catcher, charmer, collector, cutter,
    dancer, dealer, driver, enthusiast, expert, farmer, fisher, fisherman, groomer, handler, herder,
    hunter, jockey, keeper, lady, lover, maker, mason, miner, owner, racer, rescuer, rider,
    sculptor, seller, shearer, sitter, surgeon, tamer, thief, trainer, vet, walker, watcher,
    whisperer, worker, wrangler
    """
)
# Their form in -s is a verb after a noun: "a dragon guards the gate", "a woman waves".
VERBS = _sorted(
    """
    author, award, bag, bed, belt, bench, bike, block, boat, book, boss, bottle, bow, box, bridge,
    brush, butcher, button, camp, cap, captain, cart, chair, champion, cloud, coach, coat, comb,
    cook, cross, crown, dish, dock, dress, drink, drum, engineer, fan, farm, father, field, fish,
    flag, fork, frame, garden, glove, guard, guide, gun, hammer, hook, host, house, jet, judge,
    juice, kayak, key, land, leaf, letter, lock, log, mail, map, market, mask, mill, mirror, model,
    mother, mount, nail, net, nurse, oil, paddle, pan, paper, park, partner, path, phone, pilot,
    pin, plant, plate, pocket, pool, port, pot, print, prop, pump, ranch, record, referee, ring,
    rock, rope, row, ruin, sack, saddle, sail, sand, screen, seat, seed, shelf, shell, shepherd,
    shield, ship, shop, sign, sink, smoke, stage, stamp, stand, stick, stone, store, storm, strike,
    style, suit, table, tailor, tank, tattoo, tie, tile, torch, tower, track, trail, train, trap,
    truck, trunk, usher, wall, ward, watch, water, wave, weapon, wheel, whip, whistle, wing, wire
    """
)
# Adjectives of many things: they name a person's attribute only where they describe the person.
AGES = _sorted(
    """
    aged, ageing, aging, ancient, elder, junior, mature, old, older, oldest, senior, vintage, young,
    younger, youngest
    """
)
ORIGINS = _sorted(
    """
    african, american, arab, arabian, argentinian, asian, australian, bangladeshi, brazilian,
    british, cambodian, caribbean, chinese, colombian, cuban, danish, dutch, eastern, egyptian,
    english, ethiopian, european, filipino, finnish, french, german, ghanaian, greek, hispanic,
    hungarian, indian, indigenous, indonesian, iranian, iraqi, irish, israeli, italian, jamaican,
    japanese, jewish, kenyan, korean, lankan, latin, latino, lebanese, malaysian, maori,
    mediterranean, mexican, mongolian, moroccan, nepali, nigerian, nordic, norwegian, pakistani,
    persian, peruvian, polish, polynesian, portuguese, rican, russian, scandinavian, scottish,
    senegalese, slavic, somali, spanish, swedish, swiss, syrian, thai, tibetan, turkish, ukrainian,
    vietnamese, welsh, western
    """
)
COLOURS = _sorted("black, brown, ebony, gray, grey, olive, red, tan, tanned, white, yellow")
# Colours that are a picture's mood where they stand alone: "doctor, dark, moody".
TONES = _sorted("bright, bronze, dark, fair, golden, light, pale, warm")
# Words of grammar. FUNCTION words end the phrase of a noun.
DETERMINERS = _sorted(
    """
    1, 2, 3, 4, 5, 6, a, all, an, another, any, each, every, her, his, its, my, one, our, some,
    that, the, their, these, this, those, your
    """
)
NEGATIONS = _sorted("except, excluding, minus, neither, never, no, non, nor, not, without")
COPULAS = _sorted(
    """
    appears, are, be, became, becomes, been, being, is, look, looks, seems, was, were
    """
)
LIKENESSES = _sorted("as, impersonating, like, resembling")
ADVERBS = _sorted("extremely, fairly, quite, rather, really, slightly, so, still, too, very")
PREPOSITIONS = _sorted(
    """
    above, across, after, against, along, amid, among, around, at, before, behind, below, beneath,
    beside, between, by, during, for, from, in, inside, into, near, of, on, onto, outside, over,
    through, to, toward, towards, under, upon, with, within
    """
)
CONNECTIVES = _sorted(
    """
    alone, and, as, but, clad, did, does, enough, had, has, have, he, him, if, it, like, next, or,
    she, than, that, them, they, when, where, which, while, who, whose
    """
)
FUNCTION = frozenset(
    (*DETERMINERS, *NEGATIONS, *COPULAS, *ADVERBS, *PREPOSITIONS, *CONNECTIVES, *LIKENESSES)
)
ADJECTIVES = frozenset((*AGES, *ORIGINS, *COLOURS, *TONES))


@cache
def kinds() -> dict[Key, str]:
    """Return the kind of every phrase and of its plurals; where two lists have it, the later's."""
    table: dict[Key, str] = {}
    for phrases, kind, plural in (
        (BODY, "body", "body"),
        (THINGS, "thing", "thing"),
        (ANIMALS, "animal", "animal"),
        (FIGURINES, "figurine", "figurine"),
        ((*NEUTRAL, *GENERIC, *ROLES, *OCCUPATIONS, *TITLES), "person", "people"),
        (NOUNS_TOO, "noun too", "people"),
        (COLLECTIVES, "group", "group"),
        (PRONOUNS, "pronoun", "pronoun"),
        (PORTRAITS, "portrait", "portrait"),
        (NAMES, "name", "other"),
        (FIGURES, "figure", "people"),
        (OTHER_USES, "other", "other"),
    ):
        for phrase in phrases:
            one, *many = forms(phrase)
            if kind != "thing" or phrase not in VERBS:
                table.update((form, plural) for form in many if form not in table)
            table[one] = kind
    return table
